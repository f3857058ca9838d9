package redis

import (
	"reflect"
	"strings"
	"testing"

	bindings "github.com/offbit-ai/reflow/sdk/go/bindings/reflow_capabilities_redis"
	"github.com/offbit-ai/reflow/sdk/go/plugin"
)

func TestACommandHasItsArgumentsAsBytes(t *testing.T) {
	raw, err := encoded([]Command{Cmd("ZADD", "a b", 0, int64(-1), uint64(2), []byte{0}, [][]byte{{1}, {2}}, plugin.UUIDOf(0, 1))})
	expected := [][]byte{[]byte("ZADD"), []byte("a b"), []byte("0"), []byte("-1"), []byte("2"), {0}, {1}, {2},
		[]byte("00000000-0000-0000-0000-000000000001")}
	if err != nil || !reflect.DeepEqual(raw[0], expected) {
		t.Errorf("%q, %v", raw, err)
	}
	if _, err := encoded([]Command{Cmd("PING"), Cmd("SET", "key", 1.5)}); err == nil || !strings.Contains(err.Error(), "SET") {
		t.Error(err)
	}
}

func TestRepliesAreNestedAgain(t *testing.T) {
	replies := nested([]bindings.Reply{
		bindings.MakeReplyArray(2), bindings.MakeReplyArray(0), bindings.MakeReplyArray(2), bindings.MakeReplyNil(), bindings.MakeReplyBytes(nil),
		bindings.MakeReplyInteger(3), bindings.MakeReplyStatus("OK"), bindings.MakeReplyFailed("WRONGTYPE no hash"),
	})
	if len(replies) != 4 || len(replies[0].Elements()) != 2 || len(replies[0].Elements()[0].Elements()) != 0 {
		t.Fatalf("%+v", replies)
	}
	inner := replies[0].Elements()[1].Elements()
	if !inner[0].IsNil() || inner[0].Bytes() != nil || inner[1].IsNil() || inner[1].Bytes() == nil {
		t.Errorf("nil and empty bytes differ: %+v", inner)
	}
	if replies[1].Int() != 3 || string(replies[2].Bytes()) != "OK" {
		t.Errorf("%+v", replies)
	}
	if err := FirstError(replies); err == nil || err.Error() != "WRONGTYPE no hash" || FirstError(replies[:3]) != nil {
		t.Error(err)
	}
}

func TestAnErrorOfAServerHasTheKindThatFits(t *testing.T) {
	for _, expected := range []struct {
		raw  bindings.RedisError
		kind plugin.Kind
		part string
	}{
		{bindings.MakeRedisErrorNoSuchLabel("main"), plugin.KindInvalidArgument, "redis = { main ="},
		{bindings.MakeRedisErrorAccessDenied("denied"), plugin.KindInvalidArgument, "denied"},
		{bindings.MakeRedisErrorPoolExhausted(), plugin.KindUnavailable, "connections"},
		{bindings.MakeRedisErrorTimeout(), plugin.KindUnavailable, "in time"},
		{bindings.MakeRedisErrorConnectionLost("lost"), plugin.KindUnavailable, "lost"},
		{bindings.MakeRedisErrorLimitExceeded("large"), plugin.KindExhausted, "large"},
		{bindings.MakeRedisErrorServer("OOM command not allowed"), plugin.KindExhausted, "OOM"},
		{bindings.MakeRedisErrorServer("READONLY You can't write"), plugin.KindUnavailable, "READONLY"},
		{bindings.MakeRedisErrorServer("WRONGTYPE Operation"), plugin.KindOther, "WRONGTYPE"},
		{bindings.MakeRedisErrorOther("other"), plugin.KindOther, "other"},
	} {
		if found := plugin.AsError(errorOf(expected.raw)); found.Kind != expected.kind || !strings.Contains(found.Message, expected.part) {
			t.Errorf("%+v, expected %+v", found, expected)
		}
	}
}
