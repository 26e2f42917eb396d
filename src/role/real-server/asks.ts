/**
 * Asks: the load balancer is asked for the client of a flow whose mark was lost or forgotten, and again for that of a flow
 * that only replies keep alive (PROTOCOL: LB 5). The answer is a standalone mark like any other.
 */
import { Carrier } from '../../codec/carriers.js';
import { DESTINATION_AT, Mark, type Packet, SOURCE_AT } from '../../codec/packet.js';
import { writeAsk } from '../../codec/standalone.js';
import type { FlowId, Ticks, WordIndex } from '../../codec/units.js';
import { type FlowPorts, flowPorts, LIP } from '../../flow/records.js';
import type { FlowTable } from '../../flow/table.js';
import { Counter, type Counters } from '../counters.js';
import type { Outbox } from '../role.js';
import { AskLimits } from './ask-limits.js';
import { type KnownLoadBalancer, type RealServerSettings, renewalMs } from './settings.js';

export class Asks {
  private readonly limits = new AskLimits();
  /** Asks in the outbox of the batch that is being handled. */
  private added = 0;

  constructor(
    private readonly settings: RealServerSettings,
    private readonly flows: FlowTable,
    private readonly counters: Counters,
  ) {}

  /** About a packet from a load balancer that has neither a mark nor a client. It goes on as it is; later ones get a client. */
  askAbout(packet: Packet, lb: KnownLoadBalancer, now: Ticks, outbox: Outbox): void {
    if (!lb.ask || packet.mark === Mark.broken || !this.settings.isServed(packet)) return;
    const hash = this.inboundHash(packet);
    if (this.limits.isTime(lb, hash, now)) this.add(packet, lb, DESTINATION_AT, outbox);
  }

  /** About a reply on its way to LIP:lport, if its client counts only for half of its time any more. */
  renew(packet: Packet, flow: FlowId, now: Ticks, outbox: Outbox): void {
    const { records } = this.flows;
    const silentMs = (now - records.lastInbound(flow)) >>> 0;
    if (silentMs < this.settings.renewalMs) return;
    const lb = this.settings.loadBalancerAt(records.words, records.addressAt(flow, LIP));
    if (lb === undefined || !lb.ask || silentMs < renewalMs(lb.timeout)) return;
    const hash = this.hash(packet, DESTINATION_AT, SOURCE_AT, records.flowPorts(flow));
    if (this.limits.isTime(lb, hash, now)) this.add(packet, lb, SOURCE_AT, outbox);
  }

  /** Hears of a packet with a mark: it may be an answer. */
  hearMark(packet: Packet, lb: KnownLoadBalancer, now: Ticks): void {
    lb.carrier = packet.carrier;
    lb.unanswered = 0;
    if (!this.limits.areOpen) return;
    const hash = this.inboundHash(packet);
    if (this.limits.answer(hash, now)) this.counters[Counter.asks_answered]++;
  }

  /** How many asks were added since the last call. */
  takeAdded(): number {
    const { added } = this;
    this.added = 0;
    return added;
  }

  private add(packet: Packet, lb: KnownLoadBalancer, serverAt: WordIndex, outbox: Outbox): void {
    outbox.add(writeAsk(packet, carrierFor(lb, packet.v6), serverAt, packet.view, outbox.offset));
    this.added++;
  }

  private inboundHash(packet: Packet): number {
    return this.hash(packet, SOURCE_AT, DESTINATION_AT, flowPorts(packet.sourcePort, packet.destinationPort));
  }

  private hash({ addresses }: Packet, lipAt: WordIndex, serverAt: WordIndex, ports: FlowPorts): number {
    return this.flows.flowIndex.hash(addresses, lipAt, serverAt, ports);
  }
}

/** So many asks without an answer may mean that the way takes no options of the IP header: every other one is `opp` then. */
const OPTIONS_TRIED = 16;

/** The carrier of the load balancer's last mark, or an option of the IP header. */
function carrierFor({ carrier, unanswered }: KnownLoadBalancer, v6: boolean): Carrier {
  if (carrier !== Carrier.none) return carrier;
  if (unanswered > OPTIONS_TRIED && unanswered % 2 === 0) return Carrier.opp;
  return v6 ? Carrier.dstopt : Carrier.ipo;
}
