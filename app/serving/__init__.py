"""What both servers need to listen: uvicorn with the bounds that it lacks, the serving certificate, the health port."""
