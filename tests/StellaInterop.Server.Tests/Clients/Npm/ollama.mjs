// @ts-check
import { Ollama } from 'ollama';

/** @type {import('./run.mjs').Embed} */
export async function embed({ address, key, model, texts, isSingle, dimension }) {
  const client = new Ollama({ host: address, headers: { Authorization: `Bearer ${key}` } });
  const { embeddings } = await client.embed({
    model,
    input: isSingle ? texts[0] ?? '' : texts,
    ...(dimension && { dimensions: dimension }),
  });
  return embeddings;
}
