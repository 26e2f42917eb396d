/**
 * The floors of the house: what each room may import. `npm run lint` checks it. An import that is not in this table is
 * an error, type imports included. So is a circle of files.
 *
 * A room is a folder with the folders inside it, except those that are rooms themselves. Its files may always import
 * each other. It can name only rooms above it in the table. `host/*` is `host` and the rooms inside it, `node` is the
 * Node.js API, `npm:` a package.
 */
// biome-ignore format: a table
const FLOORS = {
  'errors.ts':          '',
  'version.ts':         'node',

  'codec':              '',
  'flow':               'codec',
  'role':               'codec flow',
  'role/real-server':   'codec flow role',
  'role/load-balancer': 'codec flow role',

  'io':                 'codec node npm:node-gyp-build',
  'dataplane':          'codec flow role/* io node',

  'host':               'errors.ts codec flow io/namespace.ts node npm:ip-address',
  'host/facts':         'errors.ts flow host node',
  'host/plan':          'errors.ts codec flow host host/facts',
  'host/apply':         'errors.ts codec flow io/native.ts host host/facts host/plan node',
  'host/advice':        'host host/facts host/plan node',

  'daemon/config':      'codec host node npm:convict npm:ip-address npm:yaml',
  'daemon':             'errors.ts version.ts codec flow role/* io dataplane host/* daemon/config node npm:winston',
  'cli':                'errors.ts version.ts codec io/linux.ts io/native.ts host/* daemon/* node npm:commander',

  'bench/micro':        'codec flow role/* io dataplane',
  'bench':              'version.ts codec bench/micro node',
};

const rooms = Object.keys(FLOORS);
const isIn = (path, room) => path === room || path.startsWith(`${room}/`);

/** The pattern of a room's files. `bench` imports compiled ones, as `#shim`, which is `dist` once that is built. */
function filesOf(room) {
  const path = room.startsWith('bench') ? room : `(src|dist|#shim)/${room}`;
  if (path.endsWith('.ts')) return `^${path.slice(0, -'.ts'.length)}[.][jt]s$`;
  const inner = rooms
    .filter(other => other !== room && isIn(other, room))
    .map(other => other.slice(room.length + 1));
  return inner.length === 0 ? `^${path}/` : `^${path}/(?!(${inner.join('|')})/)`;
}

/** What one word of the table allows to import. */
function targets(word, importer) {
  if (word === 'node') return [{ dependencyTypes: ['core'] }];
  if (word.startsWith('npm:')) return [{ path: `^node_modules/${word.slice('npm:'.length)}/` }];
  const named = word.endsWith('/*') ? rooms.filter(room => isIn(room, word.slice(0, -'/*'.length))) : [word];
  for (const name of named) {
    const above = rooms.slice(0, rooms.indexOf(importer));
    if (!above.some(room => isIn(name, room)))
      throw new Error(`${importer}: no room above it is called ${name}`);
  }
  return named.map(name => ({ path: filesOf(name) }));
}

const words = text => text.split(' ').filter(word => word !== '');

export default {
  allowed: [
    ...rooms.map(room => ({ from: { path: filesOf(room) }, to: { path: filesOf(room) } })),
    ...rooms.flatMap(room =>
      words(FLOORS[room])
        .flatMap(word => targets(word, room))
        .map(to => ({ from: { path: filesOf(room) }, to })),
    ),
    { from: { pathNot: '^(src|bench)/' }, to: {} },
  ],
  allowedSeverity: 'error',
  forbidden: [{ name: 'no-circular', severity: 'error', from: {}, to: { circular: true } }],
  options: {
    // The native TypeScript compiler cannot parse for other programs yet.
    parser: 'swc',
    tsPreCompilationDeps: true,
    doNotFollow: { path: '^(node_modules|dist)/' },
    exclude: { path: '^bench/dist/' },
  },
};
