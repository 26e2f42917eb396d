/** The kernel's conntrack over netlink: whose connections packets are of, and the bits of ours in their marks. */
import { BATCH } from '../codec/batch.js';
import { type CtAnswer, CtRequests, type OriginalTuple, type ReplyTuple } from '../codec/ctnetlink.js';
import { CtQueries, discardMessages } from './ct-queries.js';
import { AF_NETLINK, NETLINK_NETFILTER, SO_RCVBUFFORCE, SOCK_RAW, SOL_SOCKET } from './linux.js';
import { check, type Native } from './native.js';

const RECEIVE_BUFFER_BYTES = 1 << 20;

export class Conntrack {
  private readonly batch: CtQueries;
  private readonly lone: CtQueries;
  private readonly releases = new CtRequests(BATCH);
  private readonly releaseFd: number;
  private isClosed = false;

  /** `ctMark` are the bits of conntrack's mark that a release sets. Throws a SystemCallError. */
  constructor(
    private readonly native: Native,
    private readonly ctMark: number,
  ) {
    this.batch = new CtQueries(native, openSocket(native), BATCH);
    // On a socket of its own, so that it leaves the answers to a batch alone.
    this.lone = new CtQueries(native, openSocket(native), 1);
    this.releaseFd = openSocket(native);
  }

  // ---- queries -------------------------------------------------------------------------------------------

  /** Puts a query for the connection whose replies are `tuple` on the list. Its number, or NONE if the list is full. */
  addQuery(tuple: ReplyTuple): number {
    return this.batch.add(tuple);
  }

  /** Sends the queries on the list and begins another one. `answer` has their answers until the next time. */
  sendQueries(): void {
    this.batch.send();
  }

  /** The connection that a query has found, or undefined. It is one object, the next call's too. */
  answer(query: number): CtAnswer | undefined {
    return this.batch.answer(query);
  }

  /** Looks for one connection at once; likewise. Answers to queries stay. */
  find(tuple: ReplyTuple): CtAnswer | undefined {
    const query = this.lone.add(tuple);
    this.lone.send();
    return this.lone.answer(query);
  }

  // ---- releases ------------------------------------------------------------------------------------------

  /** Puts the connection with this first direction on the list of those that `sendReleases` gives our bits. */
  addRelease(tuple: OriginalTuple): void {
    if (this.releases.count === this.releases.capacity) this.sendReleases();
    this.releases.setCtMark(tuple, this.ctMark, this.ctMark);
  }

  /** Sets our bits in the marks of all connections on the list. Connections that have ended meanwhile don't matter. */
  sendReleases(): void {
    const { native, releases, releaseFd } = this;
    if (releases.count === 0) return;
    native.sendMessage(releaseFd, releases.bytes, releases.length);
    releases.clear();
    // Only errors are answered, and nothing can be done about them.
    discardMessages(native, releaseFd);
  }

  /** Safe to call twice. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    for (const fd of [this.batch.fd, this.lone.fd, this.releaseFd]) this.native.closeDescriptor(fd);
  }
}

function openSocket(native: Native): number {
  const fd = check('open netlink socket', native.openSocket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER));
  native.setSocketOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES);
  return fd;
}
