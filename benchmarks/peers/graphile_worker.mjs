// graphile-worker: a local queue of 2000, 50 jobs at once, completions in batches, polling 100 ms.
import { run, runMigrations, Logger } from "graphile-worker";
import pg from "pg";
import { PHASE, URL, COUNT, DUE, record, report, endAtSigterm } from "./drive.mjs";

const quiet = new Logger(() => () => {});

if (PHASE === "register") {
  await runMigrations({ connectionString: URL, logger: quiet });
  const client = new pg.Client({ connectionString: URL });
  await client.connect();
  await client.query(
    `SELECT count(*) FROM graphile_worker.add_jobs(ARRAY(
       SELECT json_populate_record(NULL::graphile_worker.job_spec,
                json_build_object('identifier', 'noop', 'run_at', $2::timestamptz))
       FROM generate_series(1, $1::integer)))`,
    [COUNT, DUE],
  );
  await client.end();
} else {
  await run({
    preset: {
      worker: {
        connectionString: URL,
        concurrentJobs: 50,
        maxPoolSize: 10,
        pollInterval: 100,
        localQueue: { size: 2000 },
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
      },
    },
    taskList: { noop: () => record() },
    logger: quiet,
    noHandleSignals: true,
  });
  endAtSigterm();
  report("ready");
}
