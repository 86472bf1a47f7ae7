"""What learns by reward, and the environments it learns in, of Gymnasium's form."""
