import { Command } from 'commander';
import { ExitCode, OperatorError } from '../errors.js';
import { print } from './context.js';
import { CLIENT, CLIENT_PORT, LIP, PORT, RIP, Scene, VIP } from './demo/scene.js';

/** `demo`: whom an unmodified application sees without and with the shim, on namespaces of this one machine. */
export function demoCommand(): Command {
  return new Command('demo')
    .description('show it on this one machine: whom an application sees without and with the shim')
    .action(async () => {
      if (process.getuid?.() !== 0)
        throw new OperatorError('demo makes network namespaces: run it as root', ExitCode.notPermitted);
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

async function play(scene: Scene): Promise<number> {
  const client = `${CLIENT}:${CLIENT_PORT}`;
  print(
    `client ${client} --> VIP ${VIP}:${PORT} | LB | LIP ${LIP} --> RIP ${RIP}:${PORT}, a plain UDP program`,
  );
  await scene.set();
  const without = await scene.exchange();
  print(`without the shim   the program saw ${without.seen.padEnd(18)} the client heard ${without.answer}`);
  await scene.startShim();
  const using = await scene.exchange();
  print(`with the shim      the program saw ${using.seen.padEnd(18)} the client heard ${using.answer}`);
  return using.seen === client ? ExitCode.ok : ExitCode.failed;
}
