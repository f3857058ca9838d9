package columns

import (
	"reflect"
	"testing"
)

func TestValuesComeBackAsTheyWereJoined(t *testing.T) {
	texts := []string{"", "é", "", "abc"}
	if found := SplitTexts(JoinTexts(texts)); !reflect.DeepEqual(found, texts) {
		t.Errorf("%q", found)
	}
	blobs := [][]byte{{}, {0, 255}, {1}}
	found := SplitBlobs(JoinBlobs(blobs))
	if !reflect.DeepEqual(found, blobs) {
		t.Errorf("%q", found)
	}
	if _ = append(found[1], 9); found[2][0] != 1 {
		t.Error("a value grew into the next")
	}
}
