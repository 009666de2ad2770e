// The in-memory link keeps the same contract as the real ones: that proves the contract, and the twins that tests lean on.
import { describeLink } from './contract.ts';
import { MEMORY_LIMIT, memoryDialler, memoryListener } from './memory.ts';
import { MemoryWire } from './wire.ts';

describeLink('memory', () => {
  const wire = new MemoryWire();
  return { wire, listener: memoryListener(wire), dialler: () => memoryDialler(wire), tooLarge: MEMORY_LIMIT };
});
