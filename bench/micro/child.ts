/** Runs the one micro-benchmark that its argument names, and prints what it found as JSON. */
import { SCENARIOS } from './scenarios.js';

process.stdout.write(JSON.stringify(SCENARIOS[process.argv[2]]()));
