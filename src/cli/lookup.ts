import { Command, InvalidArgumentError } from 'commander';
import { ExitCode } from '../errors.js';
import { parseEndpoint } from '../host/addresses.js';
import { complain, print, wantsJson, withConfiguration, withJson } from './context.js';
import { requestItem } from './request.js';

/** `lookup`: the real client of one flow. */
export function lookupCommand(): Command {
  return withJson(withConfiguration(new Command('lookup')))
    .description('the real client of a flow')
    .requiredOption('--source <LIP:lport>', 'the source that the network sees', endpoint)
    .requiredOption('--destination <RIP:rport>', 'the service’s address and port', endpoint)
    .action(async (options: { source: string; destination: string }, command: Command) => {
      const { source, destination } = options;
      const answer = await requestItem<{ client: string | null }>(command, {
        command: 'lookup',
        source,
        destination,
      });
      if (answer === undefined) return;
      if (answer.client === null) {
        if (wantsJson(command)) print('{"client":null}');
        else complain(`uoa-shim: no flow ${source} -> ${destination}`);
        process.exitCode = ExitCode.failed;
        return;
      }
      print(wantsJson(command) ? JSON.stringify(answer) : answer.client);
    });
}

/** Text that is no endpoint is a wrong command line: exit status 1 is for unknown flows only. */
function endpoint(text: string): string {
  if (parseEndpoint(text) === undefined)
    throw new InvalidArgumentError('Allowed: address:port, IPv6 as [address]:port.');
  return text;
}
