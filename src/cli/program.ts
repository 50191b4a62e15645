/** Arguments → a call of one verb. The only file that knows commander. */
import { Command, CommanderError, Option } from "commander";
import { PipelineError } from "../errors.ts";
import { toolVersion } from "../pipeline/version.ts";
import { paintFor } from "./screen.ts";
import type { Call, Verb, VerbOption } from "./verb.ts";

export interface ParsedCall {
  readonly verb: Verb;
  readonly call: Call;
}

const usageCode = 2;

/** What every verb takes, before or after its name. */
const everywhere: readonly VerbOption[] = [
  { flags: "--json", description: "print one JSON document on standard output" },
  { flags: "-q, --quiet", description: "print data and errors only" },
  { flags: "--debug", description: "print the stacks of errors" },
];

/**
 * Reads a command line.
 * @returns the exit code when all has been said already: help, or the version
 * @throws PipelineError `config-invalid` for what is unknown, missing or too much, with a suggestion
 */
export async function parseArguments(
  args: readonly string[],
  verbs: readonly Verb[],
): Promise<ParsedCall | number> {
  let parsed: ParsedCall | undefined;
  const program = prepare(new Command("spillway"))
    .description("Exports a query of any size through a fixed amount of memory.")
    .version(toolVersion, "-V, --version", "print the version")
    .addHelpText("after", () => exampleText(["spillway init", "spillway run export.yaml"]));
  addOptions(program, everywhere);
  for (const verb of verbs) program.addCommand(describe(verb, (call) => (parsed = call)));
  try {
    await program.parseAsync(args, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return 0;
    // Without a verb the help has been printed, and says more than a sentence would.
    if (error.code === "commander.help" && !args.includes("--json")) return usageCode;
    throw asPipelineError(error);
  }
  return parsed ?? usageCode;
}

function prepare(command: Command): Command {
  return command
    .exitOverride()
    .showSuggestionAfterError()
    .helpOption("-h, --help", "print this help")
    .helpCommand(false)
    .configureHelp({
      subcommandTerm: (command) =>
        `${command.name()} ${command.usage().replace(/\[options\] ?/, "")}`,
      styleTitle: (title) => paintFor(process.stdout).bold(title),
    })
    .configureOutput({ outputError() {} });
}

function describe(verb: Verb, found: (parsed: ParsedCall) => void): Command {
  const command = prepare(new Command(verb.name)).description(`${verb.summary}.`);
  command.summary(verb.summary);
  if (verb.argument) command.argument(...verb.argument);
  addOptions(command, [...(verb.options ?? []), ...everywhere]);
  command.addHelpText("after", () => {
    const notes = (verb.notes ?? []).map((note) => `\n${note}`).join("");
    return (notes && `${notes}\n`) + exampleText(verb.examples);
  });
  command.action(() => found({ verb, call: callOf(command.optsWithGlobals(), command.args) }));
  return command;
}

function exampleText(examples: readonly string[]): string {
  const { bold } = paintFor(process.stdout);
  return `\n${bold(examples.length > 1 ? "Examples:" : "Example:")}\n${examples
    .map((example) => `  ${example}`)
    .join("\n")}`;
}

function addOptions(command: Command, options: readonly VerbOption[]): void {
  for (const { flags, description, choices, repeats, counts } of options) {
    const option = new Option(flags, description);
    if (choices) option.choices(choices);
    if (repeats) option.argParser(append);
    if (counts) option.argParser(wholeNumber(option));
    command.addOption(option);
  }
}

const append = (value: string, before: readonly string[] | undefined) => [...(before ?? []), value];

const wholeNumber = (option: Option) => (value: string) => {
  if (/^\d{1,15}$/.test(value)) return Number(value);
  throw new PipelineError(
    "config-invalid",
    `option '${option.flags}' expects a whole number from 0`,
  );
};

function callOf(values: Readonly<Record<string, unknown>>, operands: readonly string[]): Call {
  const get = (option: string): unknown =>
    values[option.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())];
  const flag = (option: string) => get(option) === true;
  return {
    argument: operands[0] ?? "",
    operands,
    flag,
    text: (option) => get(option) as string | undefined,
    texts: (option) => (get(option) as readonly string[] | undefined) ?? [],
    count: (option) => get(option) as number | undefined,
    json: flag("json"),
    quiet: flag("quiet"),
    env: process.env,
  };
}

/** One sentence; commander's begins with `error: ` and has its suggestion on a line of its own. */
function asPipelineError({ message, code }: CommanderError): PipelineError {
  const sentence =
    code === "commander.help"
      ? "expected a command; see `spillway --help`"
      : message.replace(/^error: /, "").replaceAll(/\s*\n\s*/g, " ");
  return new PipelineError("config-invalid", sentence);
}
