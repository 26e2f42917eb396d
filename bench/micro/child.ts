/** Runs the micro-benchmark that its argument names, and prints the figures as JSON. */
import { inlineMore } from '#shim/dataplane/compiler.js';
import { SCENARIOS } from './scenarios.js';

// As in the data plane's thread.
inlineMore();
process.stdout.write(JSON.stringify(SCENARIOS[process.argv[2]]()));
