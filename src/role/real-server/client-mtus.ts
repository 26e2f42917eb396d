/** What is told of the MTUs of the paths to clients: to the host, which makes routes of it, and to the sockets. */
import { PathMtus } from '../../flow/path-mtus.js';

/** Milliseconds after which a path's MTU is passed on once more, should the network still complain. */
const TELL_AGAIN = 1000;

/** Hears that the path to the client at `at` in `words` takes no packets of more than `mtu` bytes. */
export type TellPathMtu = (words: Int32Array, at: number, mtu: number) => void;

export class ClientMtus {
  /** What was passed on just now, and what the sockets have heard. */
  private readonly told: PathMtus;
  private readonly heard: PathMtus;

  constructor(
    seed: number,
    private readonly tell: TellPathMtu,
  ) {
    this.told = new PathMtus(seed, TELL_AGAIN);
    this.heard = new PathMtus(seed);
  }

  /** Passes it on, unless that was done just now; true if it is news for the client's socket. `now` in ticks. */
  learn(words: Int32Array, client: number, mtu: number, now: number): boolean {
    const told = this.told.get(words, client, now);
    if (told > 0 && told <= mtu) return false;
    this.told.learn(words, client, mtu, now);
    this.tell(words, client, mtu);
    const heard = this.heard.get(words, client, now);
    this.heard.learn(words, client, mtu, now);
    return heard === 0 || heard > mtu;
  }
}
