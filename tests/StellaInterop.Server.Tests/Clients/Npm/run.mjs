// @ts-check
// Runs the requests that the tests write to standard input, one JSON object a line, and answers each by a line on standard output:
// node run.mjs CLIENT, where CLIENT is the name of a module in this folder.

import { createInterface } from 'node:readline';

/**
 * @typedef {object} EmbedRequest
 * @property {string} address The address of the server, without a path and a slash.
 * @property {string} key
 * @property {string} model
 * @property {string[]} texts
 * @property {boolean} isSingle Whether to call the client's function for one text.
 * @property {number | null} dimension
 */

/** @typedef {(request: EmbedRequest) => Promise<number[][]>} Embed */

// Libraries may log, and standard output has the answers.
console.log = console.info = console.debug = console.error;

/** @type {{ embed: Embed }} */
const { embed } = await import(`./${process.argv[2]}.mjs`);
for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const vectors = await embed(JSON.parse(line));
    answer = { lengths: vectors.map(vector => vector.length), numbers: Buffer.from(Float64Array.from(vectors.flat()).buffer).toString('base64') };
  } catch (error) {
    answer = { error: String(error) };
  }
  process.stdout.write(JSON.stringify(answer) + '\n');
}
