/**
 * The kernel's conntrack over a netlink socket. Requests are answered before their send() returns, so many of them cost
 * one send and one receive, without waiting.
 */
import { ADDRESS_WORDS, sameAddress } from '../codec/addresses.js';
import { CtAnswer, CtRequests, type ReplyTuple } from '../codec/ctnetlink.js';
import { DESTINATION, SOURCE } from '../codec/ip-header.js';
import { BATCH, PacketList } from './device.js';
import { AF_NETLINK, NETLINK_NETFILTER, SO_RCVBUFFORCE, SOCK_RAW, SOL_SOCKET } from './linux.js';
import { check, type Native } from './native.js';

const RECEIVE_BUFFER_BYTES = 1 << 20;
/** An answer takes some hundred bytes. */
const ANSWER_BYTES = 4096;

const TUPLE_WORDS = 2 * ADDRESS_WORDS;

export class Conntrack {
  /** The connection that the last `find` found. */
  readonly found: CtAnswer;
  private readonly questions = new CtRequests(BATCH);
  private readonly marks = new CtRequests(BATCH);
  private readonly memory = new Uint8Array(BATCH * ANSWER_BYTES);
  private readonly spare = new Uint8Array(ANSWER_BYTES);
  private readonly answers = new PacketList(BATCH);
  /** What was asked: the tuples, and where their answers are in `answers`, or -1. */
  private readonly tuples = new Int32Array(BATCH * TUPLE_WORDS);
  private readonly ports = new Int32Array(BATCH);
  private readonly answerOf = new Int32Array(BATCH);
  private asked = 0;
  private readonly questionFd: number;
  private readonly markFd: number;

  /** `ctMark` are the bits of conntrack's mark that `release` sets. Throws a SystemCallError. */
  constructor(
    private readonly native: Native,
    private readonly ctMark: number,
  ) {
    this.questionFd = openSocket(native);
    this.markFd = openSocket(native);
    this.found = new CtAnswer(this.memory);
    for (let i = 0; i < BATCH; i++) this.answers.add(i * ANSWER_BYTES, ANSWER_BYTES);
  }

  /** Puts the connection whose replies are `tuple` on the list for `ask`, if there is room. */
  wonder(tuple: ReplyTuple): void {
    const { questions } = this;
    const i = questions.count;
    if (i === questions.capacity) return;
    for (let k = 0; k < TUPLE_WORDS; k++) this.tuples[i * TUPLE_WORDS + k] = tuple.addresses[k];
    this.ports[i] = portsOf(tuple);
    questions.get(tuple);
  }

  /** Asks for all that are on the list: `find` then has the answers, until the next time. */
  ask(): void {
    const { questions, answers, answerOf } = this;
    this.asked = questions.count;
    if (this.asked === 0) return;
    answerOf.fill(-1);
    const last = questions.sequence;
    const sent = this.native.sendMessage(this.questionFd, questions.bytes, questions.length);
    questions.clear();
    if (sent < 0) return;
    const { offsets, lengths, results } = answers;
    const received = this.native.receiveBatch(this.questionFd, this.memory, offsets, lengths, results, BATCH);
    answers.count = Math.max(0, received);
    let matched = 0;
    for (let k = 0; k < answers.count; k++) {
      const i = this.asked - 1 - (last - this.found.sequence(offsets[k]));
      if (i < 0 || i >= this.asked) continue;
      answerOf[i] = k;
      matched++;
    }
    // Answers that an earlier question did not wait for would push the last of ours out, and so on.
    if (matched < answers.count) this.discard(this.questionFd);
  }

  private discard(fd: number): void {
    while (this.native.receiveMessage(fd, this.spare, ANSWER_BYTES) > 0);
  }

  /** Looks for the connection whose replies are `tuple`; what was found is in `found`. */
  find(tuple: ReplyTuple): boolean {
    let i = this.indexOf(tuple);
    if (i < 0) {
      this.wonder(tuple);
      this.ask();
      i = 0;
    }
    const k = this.answerOf[i];
    return k >= 0 && this.found.read(this.answers.offsets[k], this.answers.results[k]) === 0;
  }

  private indexOf(tuple: ReplyTuple): number {
    const { tuples, ports } = this;
    const wanted = portsOf(tuple);
    for (let i = 0; i < this.asked; i++) {
      const at = i * TUPLE_WORDS;
      if (ports[i] !== wanted || !sameAddress(tuples, at + SOURCE, tuple.addresses, SOURCE)) continue;
      if (sameAddress(tuples, at + DESTINATION, tuple.addresses, DESTINATION)) return i;
    }
    return -1;
  }

  /** Puts the connection whose replies are `tuple` on the list of those that `settle` gives our bits. */
  release(tuple: ReplyTuple): void {
    if (this.marks.count === this.marks.capacity) this.settle();
    this.marks.setMark(tuple, this.ctMark, this.ctMark);
  }

  /** Sets our bits in the marks of all connections on the list. Connections that have ended meanwhile don't matter. */
  settle(): void {
    const { marks, markFd } = this;
    if (marks.count === 0) return;
    this.native.sendMessage(markFd, marks.bytes, marks.length);
    marks.clear();
    this.discard(markFd); // errors: nobody waits for them
  }

  /** Safe to call twice. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.native.closeDescriptor(this.questionFd);
    this.native.closeDescriptor(this.markFd);
  }

  private closed = false;
}

function openSocket(native: Native): number {
  const fd = check('open netlink socket', native.openSocket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER));
  native.setSocketOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES);
  return fd;
}

function portsOf({ sourcePort, destinationPort }: ReplyTuple): number {
  return (sourcePort << 16) | destinationPort;
}
