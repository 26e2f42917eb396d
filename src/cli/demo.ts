import { Command } from 'commander';
import { ExitCode, OperatorError } from '../errors.js';
import { print } from './context.js';
import { CLIENT, type Exchange, LIP, PORT, RIP, Scene, VIP } from './demo/scene.js';

/** `demo`: shows which client an unmodified application sees without and with the shim, in network namespaces. */
export function demoCommand(): Command {
  return new Command('demo')
    .description('show on this machine which client an application sees without and with the shim')
    .action(async () => {
      if (process.getuid?.() !== 0)
        throw new OperatorError(
          'demo makes network namespaces, which only root may do: run it as root',
          ExitCode.notPermitted,
        );
      const scene = new Scene();
      const clear = (): void => scene.clear();
      process.once('exit', clear);
      for (const signal of ['SIGINT', 'SIGTERM'] as const)
        process.once(signal, () => process.exit(ExitCode.failed));
      try {
        process.exitCode = await play(scene);
      } finally {
        clear();
      }
    });
}

/** The client's ports of two flows: before and after the shim is started on the real server. */
const PORT_WITHOUT = 5554;
const PORT_WITH = 5555;
const QUESTIONS = 3;

async function play(scene: Scene): Promise<number> {
  print(
    `client ${CLIENT} --- VIP ${VIP}:${PORT} [LB] LIP ${LIP} --- RIP ${RIP}:${PORT} [RS], a plain UDP program`,
  );
  print('');
  await scene.set();
  await scene.startLoadBalancer();
  tell('without the shim on the RS', PORT_WITHOUT, await scene.exchange(PORT_WITHOUT, 1));
  await scene.startRealServer();
  const exchange = await scene.exchange(PORT_WITH, QUESTIONS);
  tell('with it', PORT_WITH, exchange);
  print('');
  print('between LB and RS meanwhile:');
  for (const line of exchange.packets) print(`  ${line}`);
  const wasSeen = exchange.seen.every(source => source === `${CLIENT}:${PORT_WITH}`);
  return wasSeen ? ExitCode.ok : ExitCode.failed;
}

function tell(when: string, port: number, { seen, answers }: Exchange): void {
  const [answerer] = answers[0].split(' ');
  print(
    `${when.padEnd(27)} ${CLIENT}:${port} asked, the program saw ${[...new Set(seen)].join(', ')}, ` +
      `the client was answered by ${answerer}`,
  );
}
