// @ts-check
import { OpenAIEmbeddings } from '@langchain/openai';

/** @type {import('./run.mjs').Embed} */
export async function embed({ address, key, model, texts, isSingle, dimension }) {
  const embeddings = new OpenAIEmbeddings({
    model,
    apiKey: key,
    configuration: { baseURL: `${address}/v1` },
    ...(dimension && { dimensions: dimension }),
  });
  return isSingle ? [await embeddings.embedQuery(texts[0] ?? '')] : embeddings.embedDocuments(texts);
}
