// @ts-check
import { InferenceClient } from '@huggingface/inference';

/** @type {import('./run.mjs').Embed} */
export async function embed({ address, key, texts, isSingle, dimension }) {
  const client = new InferenceClient(key, { endpointUrl: address });
  const vectors = await client.featureExtraction({
    inputs: isSingle ? texts[0] ?? '' : texts,
    ...(dimension && { dimensions: dimension }),
  });
  return /** @type {number[][]} */ (vectors);
}
