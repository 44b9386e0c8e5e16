package link

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

func TestSecretsDoNotPrint(t *testing.T) {
	key := Key(bytes.Repeat([]byte{0xab}, 32))
	machine := New(&Config{Role: Dialer, LinkID: "l", Version: "1.0.0"})
	if _, err := machine.Start(nil); err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{"Key": key, "Result": Result{Key: key}, "*Result": &Result{Key: key},
		"*Machine": machine, "Machine": *machine} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d"} {
			got := fmt.Sprintf(verb, v)
			if !strings.Contains(got, redacted) && !strings.Contains(got, hex.EncodeToString([]byte(redacted))) {
				t.Errorf("%s prints with %s as %s", name, verb, got)
			}
			for _, leak := range []string{"abab", "ABAB", "0xab", "171 171", "171, 171"} {
				if strings.Contains(got, leak) {
					t.Errorf("%s prints its secret with %s: %s", name, verb, got)
				}
			}
		}
	}
	if text, err := key.MarshalText(); err != nil || string(text) != redacted {
		t.Errorf("MarshalText gives %q, %v", text, err)
	}
}
