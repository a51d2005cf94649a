// Uses the generated TypeScript client: the compiler checks the types, Node runs it.
import { client } from "./cybersolve/client.gen";
import { info, modelInfer, readyz, solve, solveBatch } from "./cybersolve/sdk.gen";
import type { BatchAnswer, BatchProblem, Problem } from "./cybersolve/types.gen";

const [url, model] = process.argv.slice(2) as [string, string];
client.setConfig({ baseUrl: url });

/** The part of `text` at `span`, which counts code points. */
const at = (text: string, [start, end]: [number, number]): string =>
  Array.from(text).slice(start, end).join("");

function outcome(question: string, result: BatchAnswer | BatchProblem): string | null {
  if (result.kind === "answer") return result.answer; // the compiler knows which one it is
  return result.span ? at(question, result.span) : result.detail;
}

async function main(): Promise<void> {
  const question = "𝟛".repeat(10) + "x".repeat(1990) + "over!"; // 2,000 characters, and five
  const answered = await solve({ body: { question: "3x + 5 = 20", fallback: "exact" } });
  const failed = await solve({ body: { question } });
  const problem = failed.error as Problem;
  const questions = ["2x = 8", question, "123456789012345x = 3"];
  const batch = await solveBatch({ body: { questions } });
  const tensor = { name: "question", datatype: "BYTES" as const, shape: [1], data: ["3x = 12"] };
  const inferred = await modelInfer({ path: { model_name: model }, body: { inputs: [tensor] } });
  const outputs = (inferred.data as { outputs: { name: string; data?: unknown[] | null }[] }).outputs;
  console.log(JSON.stringify({
    answer: answered.data?.answer,
    problem: [problem.status, problem.detail, problem.span && at(question, problem.span)],
    batch: batch.data?.results.map((result, index) => outcome(questions[index]!, result)),
    kinds: batch.data?.results.map(({ kind }) => kind),
    tensor: outputs.find(({ name }) => name === "answer")?.data,
    ready: (await readyz()).data?.status,
    name: (await info()).data?.name,
  }));
}

void main();
