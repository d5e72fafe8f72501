// @ts-check
import { OpenAIEmbedding } from '@llamaindex/openai';
import { Settings } from 'llamaindex';

/** @type {import('./run.mjs').Embed} */
export async function embed({ address, key, model, texts, isSingle, dimension }) {
  Settings.embedModel = new OpenAIEmbedding({
    model,
    apiKey: key,
    baseURL: `${address}/v1`,
    ...(dimension && { dimensions: dimension }),
  });
  return isSingle ? [await Settings.embedModel.getTextEmbedding(texts[0] ?? '')] : Settings.embedModel.getTextEmbeddingsBatch(texts);
}
