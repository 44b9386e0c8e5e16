package jwt

import (
	"context"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
)

// Examine is VerifyToken for who has a use for tokens that have expired, too: expired says that everything else is right. Members of a
// group stay who they were when they came in (P-id-4).
func (v *Verifier) Examine(ctx context.Context, s string) (who *auth.Identity, expired bool, err error) {
	who, err = v.VerifyToken(ctx, s)
	if err == nil {
		return who, false, nil
	}
	t, wrong := parse(s)
	if wrong != nil || v.life.Err() != nil {
		return nil, false, err
	}
	exp, ok := t.seconds("exp")
	end := instant(exp)
	now := time.Now()
	if !ok || !now.Truncate(time.Second).After(end.Add(leeway)) { // its time is not what is wrong
		return nil, false, err
	}
	if _, wrong := v.judge(ctx, t, v.candidates); wrong != nil || v.o.Strict && t.begun(now) != nil {
		return nil, false, err
	}
	who = &auth.Identity{Mechanism: auth.JWT, Subject: t.text("sub"), Issuer: t.text("iss"), Claims: t.claims, Expires: end, Proof: &proof{s}}
	if err := v.allow(ctx, who); err != nil {
		return nil, false, err
	}
	return who, true, nil
}
