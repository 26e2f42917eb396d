import fc from 'fast-check';
import { expect, it, vi } from 'vitest';
import { HashIndex } from '../../../src/flow/hash-index.js';

// Only against hanging: how long it takes is the machine's business.
vi.setConfig({ testTimeout: 60_000 });

/** Few different low bits, so that runs grow long and go over the end. */
const hash = fc.oneof(fc.constantFrom(0, 1, 14, 15, 31, -1, -2, 47), fc.integer());

it('HashIndex holds what a list of pairs holds', () => {
  const RECORDS = 16;
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom('insert', 'insert', 'remove', 'replace'), hash, fc.nat(), fc.nat()), {
        maxLength: 150,
      }),
      steps => {
        const index = new HashIndex(new ArrayBuffer(HashIndex.byteLength(RECORDS)), 0, RECORDS);
        const model = new Map<number, number>(); // record -> hash
        const free = Array.from({ length: RECORDS }, (_, i) => i);
        for (const [step, hash, choice, other] of steps) {
          const records = [...model.keys()];
          const chosen = records[choice % (records.length || 1)];
          if (step === 'insert' && free.length > 0) {
            const [record] = free.splice(choice % free.length, 1);
            index.insert(hash, record);
            model.set(record, hash);
          } else if (step === 'remove' && chosen !== undefined) {
            index.remove(model.get(chosen) ?? 0, chosen);
            model.delete(chosen);
            free.push(chosen);
          } else if (step === 'replace' && chosen !== undefined && free.length > 0) {
            const [record] = free.splice(other % free.length, 1);
            const its = model.get(chosen) ?? 0;
            index.replace(its, chosen, record);
            model.delete(chosen);
            model.set(record, its);
            free.push(chosen);
          }
          for (const wanted of new Set(model.values())) {
            const found: number[] = [];
            for (let at = index.first(wanted); index.record(at) >= 0; at = index.next(at))
              if (index.hash(at) === wanted) found.push(index.record(at));
            const expected = [...model].filter(([, its]) => its === wanted).map(([record]) => record);
            expect(found.sort((a, b) => a - b)).toEqual(expected.sort((a, b) => a - b));
          }
        }
      },
    ),
    { numRuns: 300 },
  );
});
