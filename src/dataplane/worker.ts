/** The data plane's thread: it waits for packets and handles them, and takes messages when the main thread wakes it. */
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { ADDRESS_WORDS } from '../codec/addresses.js';
import { FlowTable } from '../flow/table.js';
import { native } from '../io/native.js';
import { TunDevice } from '../io/tun.js';
import { makeCounters } from '../role/counters.js';
import { inlineMore } from './compiler.js';
import { FlowFile } from './flow-file.js';
import { makeRole, type RoleSettings } from './make-role.js';
import { type DataPlaneSetup, NO_ROOM, type PathMtuNews, READY } from './messages.js';
import { Pipeline } from './pipeline.js';
import { Signal } from './signals.js';

/** Batches that are still handled when the routes to the TUN have been removed. */
const LAST_TURNS = 64;

function serve(setup: DataPlaneSetup, port: MessagePort): void {
  const signals = new Int32Array(setup.signals);
  const device = new TunDevice(native, {
    tunFd: setup.tunFd,
    wakeFd: setup.wakeFd,
    fwmark: setup.fwmark,
    merges: setup.merges,
    coalesceUs: setup.coalesceUs,
  });
  const counters = makeCounters(setup.counters);
  const file = setup.file && new FlowFile(native, setup.file);
  const flows = FlowTable.open(setup.flows, setup.table, file?.flows);
  const { role, configure, close } = makeRole(setup.role, {
    flows,
    counters,
    seed: setup.table.seed,
    fwmark: setup.fwmark,
    tellPathMtu: (words, at, mtu) => {
      const client = Array.from(words.subarray(at, at + ADDRESS_WORDS));
      port.postMessage({ client, mtu } satisfies PathMtuNews);
    },
  });
  const pipeline = new Pipeline(device, role);

  port.postMessage(READY);
  while (Atomics.load(signals, Signal.stop) === 0) {
    pipeline.turn();
    if (file?.makeRoom(flows.extent) === false) port.postMessage(NO_ROOM);
    Atomics.add(signals, Signal.heartbeat, 1);
    if (Atomics.exchange(signals, Signal.message, 0) === 0) continue;
    for (
      let received = receiveMessageOnPort(port);
      received !== undefined;
      received = receiveMessageOnPort(port)
    )
      configure(received.message as RoleSettings);
  }
  for (let turns = LAST_TURNS; turns > 0 && pipeline.turn(0) > 0; turns--);
  if (file !== undefined) flows.saveAll();
  close();
  device.close();
}

inlineMore();

if (parentPort !== null) serve(workerData as DataPlaneSetup, parentPort);
