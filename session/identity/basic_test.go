package identity

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/session"
)

func TestBasic(t *testing.T) {
	a, err := Basic("user", "pass:word")
	if err != nil {
		t.Fatal(err)
	}
	const want = "Basic dXNlcjpwYXNzOndvcmQ="
	if v, err := a.Authorization(t.Context()); v != want || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", a, a, a, a); strings.Contains(text, "dXNl") || strings.Contains(text, "word:") {
		t.Errorf("it prints as %q", text)
	}
	for _, c := range [][2]string{{"", "x"}, {"x", ""}} {
		if _, err := Basic(c[0], c[1]); !errors.Is(err, session.ErrConfig) {
			t.Errorf("%q: %v", c, err)
		}
	}
}
