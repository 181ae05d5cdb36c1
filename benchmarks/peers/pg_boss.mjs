// pg-boss: two workers with batches of 5000; full batches follow at once, else a poll every 0.5 s.
import { PgBoss } from "pg-boss";
import { PHASE, URL, COUNT, DUE, record, report, endAtSigterm } from "./drive.mjs";

const boss = new PgBoss({ connectionString: URL, max: 10 });
boss.on("error", (error) => console.error(error));
await boss.start();

if (PHASE === "register") {
  await boss.createQueue("noop");
  for (let left = COUNT; left > 0; left -= 5000) {
    const many = Math.min(left, 5000);
    await boss.insert("noop", Array.from({ length: many }, () => ({ startAfter: DUE })));
  }
  process.exit(0);
} else {
  await boss.work(
    "noop",
    {
      batchSize: 5000,
      localConcurrency: 2,
      pollingIntervalSeconds: 0.5,
      burstWhenBatchFull: true,
    },
    async (jobs) => {
      for (const job of jobs) record();
    },
  );
  endAtSigterm();
  report("ready");
}
