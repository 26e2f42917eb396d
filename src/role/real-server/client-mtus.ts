/** Passes MTUs of the paths to clients on: to the host, which makes routes of them, and to the sockets. */
import type { Ticks, WordIndex } from '../../codec/units.js';
import { PathMtus } from '../../flow/path-mtus.js';

/** After that an MTU is passed on once more, if the network still reports it. */
const TELL_AGAIN_MS = 1000;

/** Is told that the path to the client at `at` in `words` takes no packets of more than `mtu` bytes. */
export type TellPathMtu = (words: Int32Array, at: WordIndex, mtu: number) => void;

export class ClientMtus {
  /** What was passed on within TELL_AGAIN_MS. */
  private readonly told: PathMtus;
  /** What the sockets have heard of. */
  private readonly heard: PathMtus;

  constructor(
    seed: number,
    private readonly tell: TellPathMtu,
  ) {
    this.told = new PathMtus(seed, TELL_AGAIN_MS);
    this.heard = new PathMtus(seed);
  }

  /** Passes an MTU in bytes on, unless that was done just now. Whether the client's socket has not heard of it yet. */
  learn(words: Int32Array, clientAt: WordIndex, mtu: number, now: Ticks): boolean {
    const told = this.told.get(words, clientAt, now);
    if (told > 0 && told <= mtu) return false;
    this.told.learn(words, clientAt, mtu, now);
    this.tell(words, clientAt, mtu);
    const heard = this.heard.get(words, clientAt, now);
    this.heard.learn(words, clientAt, mtu, now);
    return heard === 0 || heard > mtu;
  }
}
