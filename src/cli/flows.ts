import { Command, InvalidArgumentError } from 'commander';
import type { FlowAnswer } from '../daemon/control/answers.js';
import { type FlowFilters, flowFilter } from '../daemon/control/filters.js';
import { print, wantsJson, withConfiguration, withJson } from './context.js';
import { requestItems } from './request.js';

/** `flows`: the flow table, like `conntrack -L`. */
export function flowsCommand(): Command {
  return withJson(withConfiguration(new Command('flows')))
    .description('the flow table')
    .option('--client <address>', 'only this client: address, address:port or prefix', filter)
    .option('--lb <address>', 'only flows from this LIP, likewise', filter)
    .option('--server <address>', 'only flows to this RIP, likewise', filter)
    .action(async (options: FlowFilters, command: Command) => {
      const { client, lb, server } = options;
      const filters = { ...(client && { client }), ...(lb && { lb }), ...(server && { server }) };
      const flows = await requestItems<FlowAnswer>(command, { command: 'flows', filters });
      if (flows === undefined) return;
      if (wantsJson(command)) await printArray(flows);
      else for await (const flow of flows) print(describe(flow));
    });
}

/** Prints a JSON array, an element a line, so that a million flows need no memory here. */
async function printArray(flows: AsyncIterable<FlowAnswer>): Promise<void> {
  let separator = '[';
  for await (const flow of flows) {
    print(`${separator}${JSON.stringify(flow)}`);
    separator = ',';
  }
  print(separator === '[' ? '[]' : ']');
}

function describe(flow: FlowAnswer): string {
  return (
    `udp ${flow.carrier.padEnd(4)} client=${flow.client} lb=${flow.lb} server=${flow.server} ` +
    `packets=${flow.packets} replies=${flow.replies} idle=${flow.idleSeconds.toFixed(1)} [${flow.datapath}]`
  );
}

function filter(text: string): string {
  try {
    flowFilter({ client: text });
    return text;
  } catch {
    throw new InvalidArgumentError('Allowed: an address, address:port or prefix.');
  }
}
