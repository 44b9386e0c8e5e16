package policy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/parser"
)

// celEnv is what expressions are compiled in.
var celEnv = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewCustomEnv(
		cel.StdLib(cel.StdLibSubset(&env.LibrarySubset{ExcludeFunctions: []*env.Function{{Name: overloads.Matches}}})),
		cel.Function(overloads.Matches,
			cel.Overload(overloads.Matches, []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType),
			cel.MemberOverload(overloads.MatchesString, []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType),
			cel.SingletonBinaryBinding(celMatches, traits.MatcherType)),
		cel.Variable("claims", cel.MapType(cel.StringType, cel.DynType)),
		cel.OptionalTypes(),
		cel.Macros(parser.ExistsOneMacroNew),
		cel.ParserExpressionSizeLimit(maxText),
	)
})

// compileCEL compiles an expression. Upstream's compiler looks at the syntax alone: names and types count only where the evaluation
// comes by them. What is wrong with them here is a warning (P-pol-4).
func compileCEL(text string) (*program, error) {
	base, err := celEnv()
	if err != nil {
		return nil, err
	}
	parsed, issues := base.Parse(text)
	if err := issues.Err(); err != nil {
		return nil, oneLine(err)
	}
	run, err := base.Program(parsed, cel.CostLimit(maxCost), cel.MemoryLimit(maxBytes), cel.InterruptCheckFrequency(100))
	if err != nil {
		return nil, oneLine(err)
	}
	p := &program{allow: func(ctx context.Context, claims map[string]any) error {
		v, _, err := run.ContextEval(ctx, map[string]any{"claims": claims})
		switch {
		case err != nil && ctx.Err() != nil:
			return fmt.Errorf("takes too long: %w", ctx.Err())
		case err != nil:
			return fmt.Errorf("fails: %w", oneLine(err))
		case v == types.True:
			return nil
		case v == types.False:
			return errDenies
		}
		return fmt.Errorf("%w: it gives a value of type %s, and only true allows", errDenies, v.Type().TypeName())
	}}
	checked, issues := base.Check(parsed)
	switch {
	case issues.Err() != nil:
		p.warnings = append(p.warnings, oneLine(issues.Err()).Error())
	case !checked.OutputType().IsAssignableType(cel.BoolType):
		p.warnings = append(p.warnings, fmt.Sprintf("it gives a value of type %s, and only true allows: nobody passes", checked.OutputType()))
	}
	return p, nil
}

// maxSaid is how many bytes of what an engine says are kept: it may quote claims.
const maxSaid = 400

// oneLine is what an engine says, which may have drawn the place below the text, in one line.
func oneLine(err error) error {
	var words []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" && strings.Trim(line, "|.^") != "" {
			words = append(words, strings.TrimPrefix(line, "ERROR: "))
		}
	}
	said := strings.Join(words, "; ")
	if len(said) > maxSaid {
		said = strings.ToValidUTF8(said[:maxSaid], "") + " ..."
	}
	return errors.New(said)
}
