// @ts-check
import OpenAI from 'openai';

/** @type {import('./run.mjs').Embed} */
export async function embed({ address, key, model, texts, isSingle, dimension }) {
  const client = new OpenAI({ baseURL: `${address}/v1`, apiKey: key });
  const { data } = await client.embeddings.create({
    model,
    input: isSingle ? texts[0] ?? '' : texts,
    ...(dimension && { dimensions: dimension }),
  });
  return data.map(({ embedding }) => embedding);
}
