// Writes the rows of a Parquet file as JSON, byte strings as lists of numbers.
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'

const file = await asyncBufferFromFile(process.argv[2])
const rows = await parquetReadObjects({ file, compressors, utf8: false })
console.log(JSON.stringify(rows, (key, value) => (value instanceof Uint8Array || ArrayBuffer.isView(value) ? Array.from(value) : typeof value === 'bigint' ? Number(value) : value)))
