/** The configuration: a file, whose values the environment and flags can replace. */
export { ConfigError, type Fault } from './faults.js';
export { type FlagDefinition, flagDefinitions } from './keys.js';
export { readControlSocket, readTunName } from './lenient.js';
export { loadConfig, type Sources } from './load.js';
export type * from './types.js';
