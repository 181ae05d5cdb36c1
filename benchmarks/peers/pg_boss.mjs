// pg-boss: two workers with batches of 5000, polling every 0.5 s, which is its minimum.
import PgBoss from "pg-boss";
import { PHASE, URL, COUNT, DUE, record, report, endAtSigterm } from "./drive.mjs";

const boss = new PgBoss({ connectionString: URL, max: 10 });
boss.on("error", (error) => console.error(error));
await boss.start();

if (PHASE === "register") {
  await boss.createQueue("noop");
  for (let left = COUNT; left > 0; left -= 5000) {
    const many = Math.min(left, 5000);
    await boss.insert(Array.from({ length: many }, () => ({ name: "noop", startAfter: DUE })));
  }
  process.exit(0);
} else {
  const options = { batchSize: 5000, pollingIntervalSeconds: 0.5 };
  for (let number = 0; number < 2; number++) {
    await boss.work("noop", options, async (jobs) => {
      for (const job of jobs) record();
    });
  }
  endAtSigterm();
  report("ready");
}
