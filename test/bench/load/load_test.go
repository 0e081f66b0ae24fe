package main

import (
	"testing"
	"time"
)

func TestPercentileIsTheNearestRank(t *testing.T) {
	var values []time.Duration
	for i := 1; i <= 100; i++ {
		values = append(values, time.Duration(i))
	}
	for part, want := range map[float64]time.Duration{0.5: 50, 0.99: 99, 0.999: 100, 1: 100, 0: 1} {
		if got := percentile(values, part); got != want {
			t.Errorf("percentile %v is %d instead of %d", part, got, want)
		}
	}
	if percentile(nil, 0.5) != 0 || percentile(values[:1], 0.99) != 1 {
		t.Error("of none or of one")
	}
}

func TestAnswerIsWholeWithItsLastByteHoweverItIsCut(t *testing.T) {
	text := "HTTP/1.1 200 OK\r\nserver: x\r\nContent-Length: 5\r\n\r\nhello"
	for cut := 1; cut < len(text); cut++ {
		var a answer
		whole, err := a.take([]byte(text[:cut]))
		if whole || err != nil {
			t.Fatalf("cut at %d: %v, %v", cut, whole, err)
		}
		if whole, err = a.take([]byte(text[cut:])); !whole || err != nil || a.length != 5 || string(a.body) != "hello" {
			t.Fatalf("cut at %d: %v, %v, %q", cut, whole, err, a.body)
		}
	}
}

func TestAnswerRefusesWhatIsNotTheAnswer(t *testing.T) {
	for _, text := range []string{"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab"} {
		var a answer
		if _, err := a.take([]byte(text)); err == nil {
			t.Errorf("%q passed", text)
		}
	}
}

func TestLiteralFieldsOfHPACK(t *testing.T) {
	got := literal(literal(nil, 4, "", "/p"), 31, "", "a")
	want := []byte{4, 2, '/', 'p', 0x0f, 16, 1, 'a'}
	if string(got) != string(want) {
		t.Errorf("%v instead of %v", got, want)
	}
	if got := literal(nil, 0, "te", "x"); string(got) != "\x00\x02te\x01x" {
		t.Errorf("%q", got)
	}
}
