"""What a payment's records tell, folded into facts and compared with the rows: a judge that imports nothing of what writes either."""
