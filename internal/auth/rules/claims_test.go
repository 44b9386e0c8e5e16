package rules_test

import (
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/rules"
)

// Of the characters of ASCII these may stand in the name of a claim as they are; with others it is written in brackets.
func TestNamesOfClaims(t *testing.T) {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-:"
	n := name("a/b/c")
	means := func(path, claim string) error {
		t.Helper()
		set, err := rules.Compile(&rules.Source{Rules: []rules.Rule{{Subscribe: list("*/*/*"),
			Who: rules.Who{Claims: []rules.Claim{{Path: text(path), Values: texts("v")}}}}}})
		if err != nil {
			return err
		}
		if !set.For(&auth.Identity{Mechanism: auth.JWT, Claims: map[string]any{claim: "v"}}).May(rules.Subscribe, &n) {
			t.Errorf("%q does not mean the claim %q", path, claim)
		}
		return nil
	}
	for r := rune(0); r < 0x80; r++ {
		if r == '.' || r == '[' {
			continue // they part names
		}
		bare := "a" + string(r) + "b"
		err := means(bare, bare)
		switch is := strings.ContainsRune(plain, r); {
		case is && err != nil:
			t.Errorf("%q: %v", bare, err)
		case !is && (err == nil || !strings.Contains(err.Error(), "has other characters than")):
			t.Errorf("%q: %v, want that it is written in brackets", bare, err)
		}
		if err := means(`["`+bare+`"]`, bare); err != nil {
			t.Errorf("%q in brackets: %v", bare, err)
		}
	}
}
