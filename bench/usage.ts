/** What a process has used so far, read from /proc. */
import { readdirSync, readFileSync } from 'node:fs';

/** Nanoseconds of CPU, user and system, of all threads. They are the scheduler's, which are exact. */
export function cpuNanoseconds(pid: number): number {
  let total = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`))
    total += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
  return total;
}

/** Bytes of memory that the process holds (RSS). */
export function residentBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kilobytes) * 1024;
}
