// Package columns converts the concatenated values of the contract.
package columns

import "github.com/offbit-ai/reflow/sdk/go/bindings/reflow_storage_batch"

// SplitTexts is each text.
func SplitTexts(texts reflow_storage_batch.Texts) []string {
	values := make([]string, len(texts.Ends))
	start := uint32(0)
	for i, end := range texts.Ends {
		values[i] = texts.Text[start:end]
		start = end
	}
	return values
}

// SplitBlobs is each value. They share memory, but none has room to grow into the next.
func SplitBlobs(blobs reflow_storage_batch.Blobs) [][]byte {
	values := make([][]byte, len(blobs.Ends))
	start := uint32(0)
	for i, end := range blobs.Ends {
		values[i] = blobs.Data[start:end:end]
		start = end
	}
	return values
}

// JoinTexts is all texts.
func JoinTexts(values []string) reflow_storage_batch.Texts {
	data, ends := joined(values)
	return reflow_storage_batch.Texts{Text: string(data), Ends: ends}
}

// JoinBlobs is all values.
func JoinBlobs(values [][]byte) reflow_storage_batch.Blobs {
	data, ends := joined(values)
	return reflow_storage_batch.Blobs{Data: data, Ends: ends}
}

func joined[T string | []byte](values []T) (data []byte, ends []uint32) {
	for _, value := range values {
		data = append(data, value...)
		ends = append(ends, uint32(len(data)))
	}
	return data, ends
}
