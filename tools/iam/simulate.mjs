// One case a line in, one verdict a line out: what @cloud-copilot/iam-simulate says. See differential.py.
import { createInterface } from "node:readline";
import { runSimulation } from "@cloud-copilot/iam-simulate";

for await (const line of createInterface({ input: process.stdin })) {
  try {
    const result = await runSimulation(JSON.parse(line), { simulationMode: "Strict" });
    const { overallResult, errors } = result;
    const ignored = result.result?.ignoredContextKeys ?? result.results?.[0]?.ignoredContextKeys ?? [];
    console.log(JSON.stringify({ verdict: overallResult ?? `refused: ${errors.message}`, ignored }));
  } catch (error) {
    console.log(JSON.stringify({ verdict: `failed: ${error.message}`, ignored: [] }));
  }
}
