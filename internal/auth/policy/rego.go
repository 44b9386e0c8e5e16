package policy

import (
	"context"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"sync/atomic"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// answer is the variable of the query.
const answer = ast.Var("answer")

// compileRego compiles a module, which is called name in errors.
func compileRego(name, text string) (*program, error) {
	caps, err := capabilities()
	if err != nil {
		return nil, err
	}
	boundBuiltins()
	module, err := ast.ParseModuleWithOpts(name, text, ast.ParserOptions{RegoVersion: ast.RegoV1, Capabilities: caps})
	if err != nil {
		return nil, oneLine(err)
	}
	compiler := ast.NewCompiler().WithCapabilities(caps).WithDefaultRegoVersion(ast.RegoV1)
	if compiler.Compile(map[string]*ast.Module{name: module}); compiler.Failed() {
		return nil, oneLine(compiler.Errors)
	}
	queries := compiler.QueryCompiler()
	query, err := queries.Compile(ast.MustParseBody("answer = data.slim.auth.allow"))
	if err != nil {
		return nil, oneLine(err)
	}
	p := &program{allow: func(ctx context.Context, claims map[string]any) error {
		steps := &budget{ctx: ctx}
		results, err := topdown.NewQuery(query).
			WithQueryCompiler(queries).
			WithCompiler(compiler).
			WithStore(noData{}).
			WithInput(ast.ObjectTerm(ast.Item(ast.StringTerm("claims"), ast.NewTerm(regoValue(claims))))).
			WithCancel(steps).
			WithStrictBuiltinErrors(true).
			WithEarlyExit(false).
			Run(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
			return fmt.Errorf("takes too long: %w", ctx.Err())
		case steps.Cancelled():
			return fmt.Errorf("takes more than %d steps", maxSteps)
		case err != nil:
			return fmt.Errorf("fails: %w", oneLine(err))
		case len(results) == 0:
			return fmt.Errorf("%w: data.slim.auth.allow is undefined", errDenies)
		}
		switch got := results[0][answer].Value.(type) {
		case ast.Boolean:
			if got {
				return nil
			}
			return errDenies
		default:
			return fmt.Errorf("%w: data.slim.auth.allow is of type %s, and only true allows", errDenies, ast.ValueName(got))
		}
	}}
	if len(compiler.GetRulesExact(ast.MustParseRef("data.slim.auth.allow"))) == 0 {
		p.warnings = append(p.warnings, "it has no rule data.slim.auth.allow: nobody passes")
	}
	return p, nil
}

// regoValue is a claim as Rego sees it. v is what plain gives. Numbers are exact: what is a whole number is one (P-pol-3).
func regoValue(v any) ast.Value {
	switch v := v.(type) {
	case bool:
		return ast.Boolean(v)
	case string:
		return ast.String(v)
	case int64:
		return ast.Number(strconv.FormatInt(v, 10))
	case uint64:
		return ast.Number(strconv.FormatUint(v, 10))
	case float64:
		if v == math.Trunc(v) {
			return ast.Number(big.NewFloat(v).Text('f', 0))
		}
		return ast.Number(strconv.FormatFloat(v, 'g', -1, 64))
	case []any:
		terms := make([]*ast.Term, len(v))
		for i, e := range v {
			terms[i] = ast.NewTerm(regoValue(e))
		}
		return ast.NewArray(terms...)
	case map[string]any:
		items := make([][2]*ast.Term, 0, len(v))
		for k, e := range v {
			items = append(items, ast.Item(ast.StringTerm(k), ast.NewTerm(regoValue(e))))
		}
		return ast.NewObject(items...)
	}
	return ast.NullValue
}

// budget bounds the steps of one evaluation: OPA asks before each whether it is cancelled, as do those built-in functions that may take
// many turns.
type budget struct {
	ctx   context.Context
	steps atomic.Int64
	over  atomic.Bool
}

func (b *budget) Cancel() { b.over.Store(true) }

func (b *budget) Cancelled() bool {
	if b.over.Load() {
		return true
	}
	if n := b.steps.Add(1); n > maxSteps || n%64 == 0 && b.ctx.Err() != nil {
		b.over.Store(true)
		return true
	}
	return false
}
