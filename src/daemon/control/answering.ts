/** Answers requests from a running shim's memory: asking costs the packets nothing. */
import { formatEndpoint, parseEndpoint } from '../../host/addresses.js';
import { readCounters } from '../../role/counters.js';
import { VERSION } from '../../version.js';
import { ticks } from '../clock.js';
import { describeMissing, type Running } from '../running.js';
import type { FlowAnswer, StatusAnswer } from './answers.js';
import { type FlowFilters, flowFilter } from './filters.js';
import type { ControlHandler } from './server.js';

export class Answering implements ControlHandler {
  private readonly since = performance.now();

  constructor(private readonly running: Running) {}

  status(): StatusAnswer {
    const { config, life, setup, plan } = this.running;
    const missing = [...this.running.missing, ...setup.missing()];
    return {
      state: life.state,
      role: config.role,
      version: VERSION,
      pid: process.pid,
      uptimeSeconds: Math.floor((performance.now() - this.since) / 1000),
      tun: config.tun.name,
      datapath: 'tun',
      steering: plan.steering,
      healthy: life.state === 'running' && missing.length === 0,
      warnings: [...missing.map(describeMissing), ...plan.warnings],
    };
  }

  stats(): Record<string, number> {
    const { plane, kit } = this.running;
    return readCounters(plane.counters, kit.counters.names);
  }

  *flows(filters: FlowFilters): Iterable<FlowAnswer> {
    const { plane, kit, config } = this.running;
    const passes = flowFilter(filters);
    for (const entry of plane.flows.entries(ticks()))
      if (passes(entry)) yield kit.describeFlow(entry, config);
  }

  lookup(source: string, destination: string): { client: string | null } {
    const { plane, kit } = this.running;
    const lb = requireEndpoint('source', source);
    const server = requireEndpoint('destination', destination);
    const entry = plane.flows.find(lb.words, lb.port, server.words, server.port, ticks());
    const { success, miss } = kit.counters.lookups;
    plane.counters[entry === undefined ? miss : success]++;
    return { client: entry === undefined ? null : formatEndpoint(entry.client, entry.clientPort) };
  }
}

function requireEndpoint(name: string, text: string): { words: number[]; port: number } {
  const endpoint = parseEndpoint(text);
  if (endpoint === undefined)
    throw new RangeError(`--${name} ${text} is not allowed; allowed: address:port, IPv6 as [address]:port`);
  return endpoint;
}
