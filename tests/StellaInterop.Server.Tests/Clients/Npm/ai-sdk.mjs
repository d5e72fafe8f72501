// @ts-check
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { embed as embedOne, embedMany } from 'ai';

/** @type {import('./run.mjs').Embed} */
export async function embed({ address, key, model, texts, isSingle, dimension }) {
  const options = {
    model: createOpenAICompatible({ name: 'stella', baseURL: `${address}/v1`, apiKey: key }).embeddingModel(model),
    ...(dimension && { providerOptions: { stella: { dimensions: dimension } } }),
  };
  return isSingle
    ? [(await embedOne({ ...options, value: texts[0] ?? '' })).embedding]
    : (await embedMany({ ...options, values: texts })).embeddings;
}
