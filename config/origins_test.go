package config

import (
	"slices"
	"strings"
	"testing"
)

// Rules: P-conf-27.
func TestAllowedOrigins(t *testing.T) {
	for _, tt := range []struct {
		endpoint, value string
		want            []string
		fault, warning  string
	}{
		{"ws://x:1", `[https://app.example.org, "http://[::1]:8080", null]`, nil, "a string", ""},
		{"ws://x:1", `[https://app.example.org, "http://[::1]:8080", "null"]`, []string{"https://app.example.org", "http://[::1]:8080", "null"}, "", ""},
		{"ws://x:1", "[]", []string{}, "", ""},
		{"ws://x:1", "null", nil, "", ""},
		{"ws://x:1", "https://app.example.org", nil, "a sequence", ""},
		{"ws://x:1", `["*"]`, nil, `allowed_origins[0]: origin "*" is no SCHEME://HOST[:PORT]`, ""},
		{"ws://x:1", `[app.example.org]`, nil, "is no SCHEME://HOST[:PORT]", ""},
		{"ws://x:1", `["https://a", "https://app.example.org/"]`, nil, "allowed_origins[1]: origin", ""},
		{"127.0.0.1:1", "[https://app.example.org]", []string{"https://app.example.org"}, "", "has no effect but on a listener of WebSocket"},
	} {
		c, warnings, err := parse("f", []byte(serverFile(`{endpoint: "`+tt.endpoint+`", tls: {insecure: true}, allowed_origins: `+tt.value+`}`)), noEnv)
		if tt.fault != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fault) {
				t.Errorf("%s: %v, want %q", tt.value, err, tt.fault)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.value, err)
			continue
		}
		if got := c.Services[0].Dataplane.Servers[0].AllowedOrigins; !slices.Equal(got, tt.want) || (got == nil) != (tt.want == nil) {
			t.Errorf("%s: %q, want %q", tt.value, got, tt.want)
		}
		if warned := len(warnings) > 0 && strings.Contains(warnings[0].Text, tt.warning); warned != (tt.warning != "") {
			t.Errorf("%s: warnings %v", tt.value, warnings)
		}
	}
}
