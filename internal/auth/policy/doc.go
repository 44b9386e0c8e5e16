// Package policy decides by the claims of a token whether its bearer may connect: an expression in CEL, or a module in Rego. The rules
// are those of P-pol.
//
//	text ──compiled once──▶ Policy ◀──claims── verifier
//	file ──changed────────────┘ └──▶ nil, or why not (403, and the audit log)
//
// Whatever goes wrong denies: a claim that is not there, an error, a result that is not true, too many steps, too much time. A policy
// has no way out of the process: no network, no environment, no files.
//
// The engines are cel-go, and of OPA the compiler and the evaluator alone, without its store, bundles, plugins and servers. What they
// prepare beyond their tables they prepare when the first policy is compiled.
package policy
