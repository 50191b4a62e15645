/** What a YAML syntax error means in plain words, and what to do. Never quotes the text it was found in. */
import type { YAMLParseError, YAMLWarning } from "yaml";
import type { Flaw } from "./scan.ts";

const words: Readonly<Record<string, string>> = {
  ALIAS_PROPS: "an alias (*…) takes no anchor or tag of its own",
  BAD_ALIAS: "expected a name after * or &; put the text in quotes if it begins with one",
  BAD_COLLECTION_TYPE: "tags (!…) are not accepted; expected plain YAML 1.2 values",
  BAD_DIRECTIVE: "directives (%YAML, %TAG) are not accepted",
  BAD_DQ_ESCAPE: "unknown escape in double quotes; write \\\\ for a backslash or use single quotes",
  BAD_INDENT: "wrong indentation; items of one mapping or list start at the same column",
  BAD_PROP_ORDER: "an anchor (&…) stands before the value and after the dash",
  BAD_SCALAR_START: "a plain text cannot begin with this character; put it in quotes",
  BLOCK_AS_IMPLICIT_KEY: "a second `key:` on one line; put the text in quotes or start a new line",
  BLOCK_IN_FLOW: "indented YAML inside [ ] or { }; write it on one line or without brackets",
  DUPLICATE_KEY: "the key is written twice",
  IMPOSSIBLE: "this is not YAML",
  KEY_OVER_1024_CHARS: "a key longer than 1024 characters; is a line break or a quote missing?",
  MISSING_CHAR:
    "something is missing here: a closing quote, a bracket, a comma, a colon or a space",
  MULTILINE_IMPLICIT_KEY: "a key spans several lines; is a colon or a quote missing?",
  MULTIPLE_ANCHORS: "a value takes one anchor (&…)",
  MULTIPLE_DOCS: "a second document starts here; expected one pipeline per file",
  MULTIPLE_TAGS: "tags (!…) are not accepted; expected plain YAML 1.2 values",
  NON_STRING_KEY: "expected a key that is a plain text",
  RESOURCE_EXHAUSTION: "nested too deep",
  TAB_AS_INDENT: "tab in the indentation; YAML indents with spaces",
  TAG_RESOLVE_FAILED: "tags (!…) are not accepted; expected plain YAML 1.2 values",
  UNEXPECTED_TOKEN: "unexpected character; is a quote or a bracket wrong just before it?",
};

/** The flaw behind an error of the parser. */
export function explainSyntax(error: YAMLParseError | YAMLWarning): Flaw {
  return { offset: error.pos[0], message: words[error.code] ?? "this is not YAML" };
}
