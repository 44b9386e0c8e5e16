package policy

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"sync"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// What a claim is given to may take long, or make much, in one step, which neither engine can count or stop. Rules: P-pol-11.
const (
	maxRegex   = 20_000 // instructions of a regular expression, about: a claim of 12 KiB could have a million
	maxPatched = 20_000 // values of a document between two operations of a patch: each can double it
	maxPatches = 50     // such documents, in values, that one patch makes
)

var errRegex = fmt.Errorf("the regular expression becomes larger than %d instructions", maxRegex)

// checkRegex returns why a regular expression is too large. One that is none is its engine's affair.
func checkRegex(text string) error {
	re, err := syntax.Parse(text, syntax.Perl)
	if err == nil && instructions(re) > maxRegex {
		return errRegex
	}
	return nil
}

// instructions is about how many an expression becomes; not more than one above maxRegex is counted.
func instructions(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)/16 // classes share their ranges
	if re.Op == syntax.OpLiteral {
		n = len(re.Rune)
	}
	for _, sub := range re.Sub {
		n += instructions(sub)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return min(n, maxRegex+1)
}

// celMatches is the function matches of CEL, bounded.
func celMatches(text, pattern ref.Val) ref.Val {
	s, ok := text.(types.String)
	p, is := pattern.(types.String)
	switch {
	case !ok:
		return types.MaybeNoSuchOverloadErr(text)
	case !is:
		return types.MaybeNoSuchOverloadErr(pattern)
	}
	if err := checkRegex(string(p)); err != nil {
		return types.WrapErr(err)
	}
	matched, err := regexp.MatchString(string(p), string(s))
	if err != nil {
		return types.WrapErr(err)
	}
	return types.Bool(matched)
}

// boundBuiltins puts bounds in front of built-in functions of OPA.
var boundBuiltins = sync.OnceFunc(func() {
	for name, at := range map[string]int{"regex.match": 0, "regex.is_valid": 0, "regex.split": 0, "regex.find_n": 0, "regex.replace": 1} {
		f := topdown.GetBuiltin(name)
		topdown.RegisterBuiltinFunc(name, func(b topdown.BuiltinContext, args []*ast.Term, yield func(*ast.Term) error) error {
			if s, ok := args[at].Value.(ast.String); ok {
				if err := checkRegex(string(s)); err != nil {
					return err
				}
			}
			return f(b, args, yield)
		})
	}
	patch := topdown.GetBuiltin("json.patch")
	topdown.RegisterBuiltinFunc("json.patch", func(b topdown.BuiltinContext, args []*ast.Term, yield func(*ast.Term) error) error {
		all, ok := args[1].Value.(*ast.Array)
		if !ok || all.Len() == 0 {
			return patch(b, args, yield)
		}
		doc, made := args[0], 0
		for i := range all.Len() {
			next := (*ast.Term)(nil)
			err := patch(b, []*ast.Term{doc, ast.ArrayTerm(all.Elem(i))}, func(t *ast.Term) error {
				next = t
				return nil
			})
			if err != nil || next == nil {
				return err
			}
			left := values(next.Value, maxPatched)
			if made += maxPatched - left; left == 0 || made > maxPatches*maxPatched {
				return fmt.Errorf("the document becomes larger than %d values, or all that the patch makes than %d times that", maxPatched, maxPatches)
			}
			doc = next
		}
		return yield(doc)
	})
})

var errMany = errors.New("more values than are left")

// values returns how many of left are left after all values in v were counted; 0: there are more.
func values(v ast.Value, left int) int {
	left--
	count := func(t *ast.Term) error {
		if left <= 0 {
			return errMany
		}
		left = values(t.Value, left)
		return nil
	}
	switch v := v.(type) {
	case *ast.Array:
		_ = v.Iter(count)
	case ast.Set:
		_ = v.Iter(count)
	case ast.Object:
		_ = v.Iter(func(_, t *ast.Term) error { return count(t) })
	}
	return max(left, 0)
}
