#!/usr/bin/env node
/** The micro-benchmarks by themselves: no root, no network. */
import { judge } from './goals.js';
import { reportGoals, reportMicro } from './report.js';
import { runMicro } from './run-micro.js';

process.on('uncaughtException', error => {
  process.stderr.write(`bench: ${error.message}\n`);
  process.exit(1);
});

const micro = runMicro(process.argv.includes('--quick'), text => process.stderr.write(`${text}\n`));
const goals = judge({ load: [], latency: [], soak: [], micro });
process.stdout.write(`${reportMicro(micro)}\n\n${reportGoals(goals)}\n`);
