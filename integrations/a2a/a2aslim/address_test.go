package a2aslim_test

import (
	"testing"

	"github.com/seed31b3bfd0/slimgo/integrations/a2a/a2aslim"
)

func TestParseURL(t *testing.T) {
	for url, want := range map[string]string{
		"org/ns/app":                     "org/ns/app",
		"slim://org/ns/app":              "org/ns/app",
		"slim://node/org/ns/app":         "org/ns/app",
		"slim://node:46357/org/ns/app":   "org/ns/app",
		"slim:///org/ns/app":             "org/ns/app",
		"slim://org/ns/my%20app":         "org/ns/my app",
		"":                               "",
		"org/ns":                         "",
		"slim://":                        "",
		"slim://node:46357":              "",
		"slim://a/b/c/d/e":               "",
		"slim://org/ns/%zz":              "",
		"https://agents.example/a2a":     "",
		"https://agents.example/a2a/one": "",
	} {
		name, err := a2aslim.ParseURL(url)
		if got := name.String(); (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%q is %q, %v; want %q", url, got, err, want)
		}
	}
}
