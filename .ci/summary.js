/**
 * Prints what a JSON report of vitest says: the ten slowest files, tests that were skipped, and as its last line
 * "N passed, N failed".
 *
 *     node .ci/summary.js REPORT
 */
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';

const report = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const files = report.testResults
  .map(({ name, startTime, endTime }) => ({
    name: relative('.', name),
    seconds: (endTime - startTime) / 1000,
  }))
  .sort((a, b) => b.seconds - a.seconds);

console.log('\nThe slowest files, in seconds:');
for (const { name, seconds } of files.slice(0, 10)) console.log(`${seconds.toFixed(1).padStart(7)}  ${name}`);
if (report.numPendingTests > 0) console.log(`${report.numPendingTests} skipped, for reasons said above`);
console.log(`${report.numPassedTests} passed, ${report.numFailedTests} failed`);
